"""Images that occur twice, exactly or nearly."""
