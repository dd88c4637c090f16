"""The controller: events in, schedule, decisions out."""
