"""The methods of the socket, a file a namespace."""
