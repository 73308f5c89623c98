"""The LangGraph checkpointer on UMS, under the name by which LangGraph's own savers go."""

from langchain_ums import UMSSaver

__all__ = ["UMSSaver"]
