"""What people have, as a `Graph`."""
