"""What operators see: metrics, the audit log and the service's own log."""
