"""The doors, one file a protocol. They know Request, Response and Plan, never an app's class."""
