"""A worker whose task is a graph of LangGraph.

A checkpoint of the graph is a step of the task: after `kill -9` the graph goes on at its last checkpoint, in another process. An interrupt
of the graph is a question to the owner of the task: no worker waits for the answer. Tokens of the model are output of the task.
"""

import base64
import os
from typing import Any, TypedDict

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, interrupt
from taskbridge_client.worker import TaskContext, Worker

worker = Worker(os.environ["TASKBRIDGE_URL"], os.environ["WORKER_TOKEN"], version="1.0")
PAUSE = float(os.environ.get("TOKEN_SECONDS", "0.05"))


class State(TypedDict, total=False):
    topic: str
    outline: str
    draft: str
    approved: bool


def model(answer: str) -> GenericFakeChatModel:
    """Puts out this answer, token by token. Replace it by a model of your own."""
    return GenericFakeChatModel(messages=iter([AIMessage(answer)]))


def outline(state: State, runtime: Runtime[TaskContext]) -> State:
    print("ran outline", flush=True)
    text = model(f"1. What {state['topic']} is. 2. Why it matters.").invoke("An outline, please.").content
    runtime.context.progress(30, stage="outlined")
    return {"outline": str(text)}


def draft(state: State, runtime: Runtime[TaskContext]) -> State:
    print("ran draft", flush=True)
    text = ""
    for token in model(f"A draft about {state['topic']}, by this outline: {state['outline']}").stream("Write it."):
        runtime.context.output(str(token.content))
        text += str(token.content)
        runtime.context.sleep(PAUSE)
    return {"draft": text}


def review(state: State) -> State:
    answer = interrupt({"question": "Publish it?", "draft": state["draft"]})
    return {"approved": answer["actionType"] == "approve"}


def publish(state: State, runtime: Runtime[TaskContext]) -> State:
    print("ran publish", flush=True)
    runtime.context.progress(100, stage="published" if state["approved"] else "dropped")
    return {}


GRAPH = StateGraph(State, context_schema=TaskContext)
GRAPH.add_node("outline", outline)
GRAPH.add_node("draft", draft)
GRAPH.add_node("review", review)
GRAPH.add_node("publish", publish)
for before, behind in [(START, "outline"), ("outline", "draft"), ("draft", "review"), ("review", "publish"), ("publish", END)]:
    GRAPH.add_edge(before, behind)


@worker.task("graph.report")
def report(input: dict[str, Any], task: TaskContext) -> dict[str, Any]:
    saver = InMemorySaver()
    graph: CompiledStateGraph = GRAPH.compile(checkpointer=saver)
    thread = {"configurable": {"thread_id": task.task_id, "checkpoint_ns": ""}}
    given: Any = {"topic": input["topic"]}
    number = 0
    while True:
        # One superstep of the graph is one step of the task. One that is finished is not run again: its checkpoint is stored.
        def superstep(_step: object, given: Any = given) -> str:
            graph.invoke(given, thread, context=task, interrupt_after="*", durability="sync")
            return saved(saver, thread)

        load(saver, thread, task.step("checkpoint", superstep, index=number))
        number += 1
        state = graph.get_state(thread)
        asked = [one for waiting in state.tasks for one in waiting.interrupts]
        if not state.next:
            return {"approved": state.values["approved"], "draft": state.values["draft"]}
        given = None
        if asked:
            answer = task.suspend(
                reason_code="REVIEW", allowed_actions=["approve", "reject"], interaction=asked[0].value, key=f"review-{number}"
            )
            given = Command(resume=answer)


def saved(saver: InMemorySaver, thread: Any) -> str:
    """The last checkpoint, with what its tasks have written, as text."""
    last = saver.get_tuple(thread)
    assert last is not None
    kind, data = saver.serde.dumps_typed([last.checkpoint, last.metadata, last.pending_writes])
    return f"{kind}:{base64.b64encode(data).decode()}"


def load(saver: InMemorySaver, thread: Any, text: str) -> None:
    """Makes it the only checkpoint."""
    kind, data = text.split(":", 1)
    checkpoint, metadata, writes = saver.serde.loads_typed((kind, base64.b64decode(data)))
    saver.delete_thread(thread["configurable"]["thread_id"])
    at = saver.put(thread, checkpoint, metadata, checkpoint["channel_versions"])
    for task_id, channel, value in writes:
        saver.put_writes(at, [(channel, value)], task_id)


if __name__ == "__main__":
    worker.run()
