"""The seam to NATS: connections, streams, consumers and buckets. Nothing else imports nats."""
