use testsuite::Result;
pub fn redis() -> Result<()> {
    Ok(())
}
pub fn nginx() -> Result<()> {
    Ok(())
}
