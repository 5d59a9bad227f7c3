"""The tables and views of ClickHouse as numbered SQL files; `schema.py` applies them."""
