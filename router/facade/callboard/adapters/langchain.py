"""Reports what LangChain and LangGraph do."""

from router.sdk.adapters.langchain import LangChainHandler

__all__ = ["LangChainHandler"]
