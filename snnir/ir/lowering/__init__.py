"""What operators of the frameworks are made of: functions that write one of them as ops of the IR, for all frontends.

A frontend's handler reads its own node and calls the function with the node as a `Builder`. `RefusalError` says why a node
cannot be imported.
"""

from snnir.ir.lowering.builder import Builder, RefusalError

__all__ = ["Builder", "RefusalError"]
