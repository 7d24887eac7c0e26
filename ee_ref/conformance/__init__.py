"""The conformance suite: vectors that prove a port, and the host that judges it.

    suite -> export (vectors, manifest)          what a port has to compute
    transport -> protocol -> runner -> judge -> report

docs/conformance.md says what the cases are, docs/conformance-protocol.md how a port is spoken to.
"""

REPORT_FORMATS = ("table", "json", "junit")
