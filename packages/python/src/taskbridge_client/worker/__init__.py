"""Runs tasks of a TaskBridge service in this process."""

from .attempt import Attachment
from .context import AsyncTaskContext, TaskContext
from .errors import AttemptStopped, LeaseLost, Refused, Suspended, TaskFailure
from .question import SuspendAnswer
from .signal import StopSignal
from .steps import StepContext
from .worker import Worker, WorkerProblem

__all__ = [
    "AsyncTaskContext",
    "Attachment",
    "AttemptStopped",
    "LeaseLost",
    "Refused",
    "StepContext",
    "StopSignal",
    "SuspendAnswer",
    "Suspended",
    "TaskContext",
    "TaskFailure",
    "Worker",
    "WorkerProblem",
]
