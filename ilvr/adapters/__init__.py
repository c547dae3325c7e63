"""ILVR inside other libraries: each module imports its library, and nothing else imports it."""
