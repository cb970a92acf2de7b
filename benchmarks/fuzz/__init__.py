"""Every file of a sweep's folder and of an export, made hostile in many ways, and every command."""
