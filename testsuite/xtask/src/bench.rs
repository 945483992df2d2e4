use testsuite::Result;
pub fn run() -> Result<()> {
    Ok(())
}
