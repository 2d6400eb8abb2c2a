"""What schedules decide: pure, and without a clock."""
