import pytest

from adcaptum.zoo.package_file import PackageFileChanged, PackageFileMissing, package_file


def test_a_file_of_an_installed_package_is_found() -> None:
    assert package_file("sklearn", "datasets/images/china.jpg").stat().st_size > 0


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(PackageFileMissing, match="no_such_package is not installed"):
        package_file("no_such_package", "weights.pth")


def test_a_file_that_the_package_lacks_is_named() -> None:
    with pytest.raises(PackageFileMissing, match=r"sklearn has no file weights\.pth"):
        package_file("sklearn", "weights.pth")


def test_a_changed_file_is_refused() -> None:
    with pytest.raises(PackageFileChanged, match="expected 0000"):
        package_file("sklearn", "datasets/images/china.jpg", sha256="0000")
