"""Optimizers: settings, schedules, update rules, moments."""
