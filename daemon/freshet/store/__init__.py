"""What is remembered: schema, migrations, the group-commit writer, transactions and queries. Only here is SQL."""
