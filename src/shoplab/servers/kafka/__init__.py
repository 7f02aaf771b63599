"""Apache Kafka: its jars and Java, one broker, a cluster of them."""
