"""The only place that touches the host's internals."""
