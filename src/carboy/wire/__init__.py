"""Values of the wire: request, response, body, JSON, files. No app, no context, no await."""
