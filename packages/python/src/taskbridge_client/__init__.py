"""Create tasks of a TaskBridge service, follow them live, and run them in a worker."""

from ._async.client import AsyncTaskBridge
from ._async.task import AsyncTask
from ._sync.client import TaskBridge
from ._sync.task import Task
from .errors import TaskBridgeError, TaskCancelled, TaskFailed
from .outcomes import AnswerOutcome, CancelOutcome, OutputChange
from .state import TaskState
from .store import FileStore
from .wire import Change, TaskEvent, TaskSnapshot

__all__ = [
    "AnswerOutcome",
    "AsyncTask",
    "AsyncTaskBridge",
    "CancelOutcome",
    "Change",
    "FileStore",
    "OutputChange",
    "Task",
    "TaskBridge",
    "TaskBridgeError",
    "TaskCancelled",
    "TaskEvent",
    "TaskFailed",
    "TaskSnapshot",
    "TaskState",
]
