"""The LangGraph store on UMS, under the name by which LangGraph's own stores go."""

from langchain_ums import UMSStore, decode_label, encode_label

__all__ = ["UMSStore", "decode_label", "encode_label"]
