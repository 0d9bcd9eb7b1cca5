"""The multiplexed connection between gateway and agent."""
