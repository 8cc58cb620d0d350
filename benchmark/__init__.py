"""The machine: contracts, trainer, runner, records, metrics and tables. It knows no method and no dataset by name."""
