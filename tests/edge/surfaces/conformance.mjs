// Runs the conformance suite of the Durable Streams protocol against a server; vitest takes it for a test file.
import { runConformanceTests } from "@durable-streams/server-conformance-tests";

runConformanceTests({ baseUrl: process.env.CONFORMANCE_TEST_URL, longPollTimeoutMs: 30000 });
