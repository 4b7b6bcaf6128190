"""Files of results and settings: read strictly, written whole or not at all."""
