"""The argument of protocol.md as software: field, transcript, engine, sub-protocols, soundness account."""
