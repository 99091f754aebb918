"""What a spiking graph runs on. One package a backend; none knows of another."""
