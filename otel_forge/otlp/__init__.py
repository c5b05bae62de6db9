"""OTLP: upstream's exporters, and records straight to wire bytes without a protobuf runtime.

One span, followed through: `encode_spans.SpanEncoder.encode` makes it a fragment, with `attributes.AttributeTable`
for what repeats; `envelope.assemble` puts fragments into a request. What can't be written straight ahead goes
through `careful.Careful`, and `report.EncodingReport` counts what that had to change.

The messages are those of upstream's encoder and of its limits at record time, for everything those can
encode (``tests/otlp/long_fuzz.py`` compares). On purpose it is otherwise here:

- What upstream drops or fails on arrives, changed as little as possible, marked with the attribute
  ``otel_forge.altered`` (spans, log records) and counted: see `report.Reason`. Upstream drops an attribute
  with a lone surrogate or an integer beyond 64 bits, and loses the whole batch for most of the rest.
- A record is at most 4 MB: of a larger one about 1 MB is kept, its texts cut to 8192 characters.
- Scopes and resources that are the same in bytes share a group; upstream tells ``None`` from an unnamed scope.
- Resources and scopes without any record are left out of metrics, as upstream's reader never makes them.
- Metrics of one resource that come in several parts, or of one scope, stay several; upstream keeps the last.
"""
