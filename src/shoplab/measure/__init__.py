"""What happened, in numbers: offered load, consumer lag, recorded spans."""
