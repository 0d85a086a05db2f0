"""What goes on after an answer has begun: WebSockets, server-sent events, channels."""
