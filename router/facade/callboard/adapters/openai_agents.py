"""Reports what the OpenAI Agents SDK does."""

from router.sdk.adapters.openai_agents import RunTracingProcessor

__all__ = ["RunTracingProcessor"]
