"""What `partner` runs: see there."""

import json
import sys

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext


def write(bootstrap, registry, topic, subject):
    serialize = AvroSerializer(
        registry,
        conf={
            "auto.register.schemas": False,
            "use.latest.version": True,
            "subject.name.strategy": lambda _context, _record: subject,
        },
    )
    failures = []
    producer = Producer({"bootstrap.servers": bootstrap})
    context = SerializationContext(topic, MessageField.VALUE)
    for line in sys.stdin:
        key, value = line.rstrip("\n").split("|", 1)
        producer.produce(
            topic,
            key=key,
            value=serialize(json.loads(value), context),
            on_delivery=lambda error, _message: error and failures.append(error),
        )
    if producer.flush(30) or failures:
        sys.exit(f"not delivered: {failures}")


def read(bootstrap, registry, topic, count):
    deserialize = AvroDeserializer(registry)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "partner", "enable.auto.commit": False})
    partitions = consumer.list_topics(topic, 10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    context = SerializationContext(topic, MessageField.VALUE)
    for _ in range(int(count)):
        message = consumer.poll(20)
        if message is None or message.error():
            sys.exit(f"nothing comes: {message and message.error()}")
        record = {"key": message.key().decode(), "value": deserialize(message.value(), context)}
        print(json.dumps(record, default=str))


if __name__ == "__main__":
    command, bootstrap, address, *rest = sys.argv[1:]
    {"write": write, "read": read}[command](bootstrap, SchemaRegistryClient({"url": address}), *rest)
