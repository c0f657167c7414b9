"""The protocols: gRPC servicers and interceptors, statuses, health, HTTP."""
