"""A pretraining run put together: configuration, model, data and trainer."""
