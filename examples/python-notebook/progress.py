"""Shows the progress of a task, in a notebook or a terminal. Each `# %%` begins a cell."""

# %% Connect
import os

from taskbridge_client import FileStore, TaskBridge

client = TaskBridge(
    os.environ.get("TASKBRIDGE_URL", "http://127.0.0.1:3000"),
    # A cell that runs again, or a kernel that is started again, finds its task and makes no second one.
    store=FileStore(os.environ.get("STORE", ".requests")),
)

# %% Create a task
task = client.create("demo.steps", {"steps": 20, "stepMs": int(os.environ.get("STEP_MS", "200"))})
print(task.id)

# %% Watch it. Interrupt the cell and run it again: the task goes on meanwhile.
for state in task.states():
    filled = round((state.progress or 0) / 5)
    print(f"\r{'█' * filled}{'░' * (20 - filled)} {state.progress or 0:3.0f} % {state.message or ''}", end="", flush=True)
print()

# %% Its result
print(task.result())
client.close()
