"""The bus of a host: the processes of one application meet at a Unix socket; no server, and no configuration.

    place       which socket, in which directory
    seat        who serves it: the process that holds a lock, which the kernel takes from it when it dies
    frames      what goes over it: a length, and MessagePack
    hub         the serving end, around a ledger
    member      the broker: a loop's access to the hub, wherever that is
"""
