"""LangChain's own fake chat model, taught to call tools, and a LangGraph agent that uses it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import BaseTool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode, tools_condition

USED = {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}


class ToolCallingFake(GenericFakeChatModel):
    """Answers with the next of its messages; one that calls tools is streamed in one piece."""

    model_name: str = "fake-1"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> ToolCallingFake:  # type: ignore[override]
        return self

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": "fake", "ls_model_name": self.model_name, "ls_model_type": "chat"}

    def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Iterator[Any]:
        message = next(self.messages)
        if isinstance(message, AIMessage) and (message.tool_calls or not isinstance(message.content, str)):
            whole = AIMessageChunk(
                content=message.content, tool_calls=message.tool_calls, usage_metadata=message.usage_metadata
            )
            chunk = ChatGenerationChunk(message=whole)
            if run_manager:
                run_manager.on_llm_new_token("", chunk=chunk)
            yield chunk
            return
        yield from GenericFakeChatModel(messages=iter([message]))._stream(messages, stop, run_manager, **kwargs)


def calls(tool: str, **arguments: Any) -> AIMessage:
    """A message that calls one tool."""
    call = {"name": tool, "args": arguments, "id": f"call-{tool}", "type": "tool_call"}
    return AIMessage(content="", tool_calls=[call], usage_metadata=USED)


def agent(messages: Sequence[AIMessage], *tools: BaseTool) -> CompiledStateGraph[Any, Any, Any, Any]:
    """A graph of two nodes: the model, and the tools it calls until it answers."""
    model = ToolCallingFake(messages=iter(messages))

    async def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    def think_sync(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    from langchain_core.runnables import RunnableLambda

    graph = StateGraph(MessagesState)
    graph.add_node("think", RunnableLambda(think_sync, think))
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", tools_condition, {"tools": "tools", END: END})
    graph.add_edge("tools", "think")
    return graph.compile()
