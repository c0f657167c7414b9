"""Messages of protobuf as JSON that people write and read."""
