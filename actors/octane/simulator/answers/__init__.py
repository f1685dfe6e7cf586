"""What a simulated Octane answers: a table from the name of each rpc to the function that answers it."""
