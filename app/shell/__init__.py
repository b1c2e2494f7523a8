"""What all pages share: address, frame, help, parts."""
