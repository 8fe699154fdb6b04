"""Programs as protocol scripts: any `circuits.program.Program` becomes commitments, lookups, sumchecks and claims."""
