"""From a backbone to numbers: features of images, and how well they solve the tasks of a table."""

from mast_plugin.evaluation.before_after import BeforeAfter, Score, score_tasks
from mast_plugin.evaluation.features.extraction import View, extract_features
from mast_plugin.evaluation.labels.tasks import Task, TaskTable, read_tasks
from mast_plugin.evaluation.protocols.linear import linear_measurements
from mast_plugin.evaluation.protocols.neighbour import knn_measurements

__all__ = [
    "BeforeAfter",
    "Score",
    "Task",
    "TaskTable",
    "View",
    "extract_features",
    "knn_measurements",
    "linear_measurements",
    "read_tasks",
    "score_tasks",
]
