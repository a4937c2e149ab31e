"""From a backbone to numbers: features of images, and how well they solve the tasks of a table."""
