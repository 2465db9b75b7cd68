"""Files as trees of tables and messages, and back; what an operator means is not known here."""
