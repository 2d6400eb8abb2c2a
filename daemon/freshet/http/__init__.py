"""What answers on the sockets: health on TCP, the API on the Unix socket."""
