"""The owner's daemon: jobs that commit, measure, prove and submit, for others on this machine to ask for."""
