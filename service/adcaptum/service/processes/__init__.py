"""Facts that processes of one server share: places, journals, memory."""
