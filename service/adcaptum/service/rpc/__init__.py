"""The edges: gRPC servicers and interceptors, the status table, health, HTTP."""
