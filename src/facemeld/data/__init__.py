"""Training pictures: folders of domains, and the decoded pictures held in memory."""
